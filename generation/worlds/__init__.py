"""Worlds of exported tasks: anyone's agent plays a task with our user, in its own start state, and gets its verdict."""
