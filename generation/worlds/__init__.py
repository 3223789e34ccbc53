"""Worlds of exported tasks: any agent plays a task with our user, from the task's start state, and gets a verdict."""
