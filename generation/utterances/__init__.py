"""What assistants and users say, decided from their words."""
