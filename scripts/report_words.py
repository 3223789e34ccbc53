"""What the words of a report mean, for readers who do not know the project."""

from __future__ import annotations

from core.page.contents import Row, Section, Table

ABOUT = (
    "Simulated users ask an assistant with tools for things in a database, over several turns. Each dialogue is accepted "
    "or rejected by executing its tool calls; models are fine-tuned on the accepted ones, and evaluated on other tasks."
)

WORDS = {
    "task, goal": "what the user wants, with a plan of tool calls that was executed and works",
    "gold call": "a call of that plan; it is met where the assistant made it with equal arguments",
    "told value": "a value of a result that the user asked for and that the assistant has to say",
    "finished": "the dialogue came to its end with all of its tasks",
    "contract": "the transcript is well formed: every call is of an offered tool and has its result",
    "state of task": "after the task, the database is the one that the gold calls make",
    "told in task": "the assistant has said every told value",
    "policy": "the rules of the service were kept",
    "replay": "all calls, made again on a fresh database, gave the recorded results",
    "blame": "who caused a rejection or failure, by rules: agent, user, tool or task",
    "judge": "a model's opinion of each task, next to these checks; it decides only where nothing can be executed",
    "task_oriented": "pipeline without simulated users: the assistant gets the whole task at once",
    "user_oriented": "pipeline with simulated users; a model plays the tools",
    "user_oriented_exec": "pipeline with simulated users and tools that are executed on databases",
    "scripted": "a stand-in without weights in place of a model",
    "sample, tree": "what one prompt of a server and its answers make; all of a dialogue, with what they share once",
    "held-out databases": "databases of the generated data that training did not see, for half of its validation",
    "heldout": "our benchmark of live dialogues: on unseen databases, which no training data has, and on trained ones with "
    "new tasks",
    "bfcl, tau2": "the Berkeley Function-Calling Leaderboard and τ²-bench, with their official checkers",
    "Pass@k, Pass^k": "the chance that one of k trials of a task succeeds, and that all k do; Pass@1 is the mean",
    "undisputed": "without tasks of BFCL whose expected answer contradicts the task",
    "interval, p": "95 % bootstrap interval over tasks; p of a sign-flip test of two models on the same tasks. With few "
    "tasks the interval is too narrow: p decides",
}


def words() -> Section:
    """The last section of a report."""
    rows = tuple(Row(cells=cells) for cells in WORDS.items())
    table = Table(title="What the words mean", columns=("word", "meaning"), rows=rows)
    return Section(key="words", title="Words", blocks=(table,))
