"""Tools made of parameterised SQL, and their verification (Section "User-oriented + tool execution").

A tool is admitted only if SQLite compiles its statement to a harmless program and it runs on sample arguments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from core.messages import Frozen, ToolSpec
from core.schemas import schema_error
from generation.database.guard import OutOfBoundsError, SqlError
from generation.database.image import Image
from generation.database.samples import Sampler, target_table
from generation.database.sandbox import DEFAULT_LIMITS, Limits, Sandbox, Statement
from generation.database.tables import quoted

_KINDS = (exp.Select, exp.SetOperation, exp.Insert, exp.Update, exp.Delete)
_SCALARS = {"string", "integer", "number", "boolean", "null"}
_ENOUGH_RUNS = 3


class SqlTool(Frozen):
    """A tool and its only statement, whose named parameters (`:club_id`) are the tool's."""

    spec: ToolSpec
    sql: str


class ToolError(Exception):
    """A tool cannot be admitted; `problems` say why."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def verify_tool(tool: SqlTool, image: Image, limits: Limits = DEFAULT_LIMITS) -> list[str]:
    """Why `tool` cannot be used on this database; empty if it can.

    Besides passing `compile_tool`, it must run on samples from the columns that its parameters are used with, once with
    all arguments and once without the optional ones, its results must fit the declared `returns`, and the state after
    it must be one that can be forked.
    """
    sandbox = Sandbox(image, limits)
    try:
        statement = compile_tool(tool, sandbox)
        sampler = Sampler(_parse(tool.sql), tool.spec, sandbox)
        if problems := sampler.type_problems():
            return problems
        for names in dict.fromkeys((tuple(sampler.schemas), sampler.required)):
            _try_samples(tool, statement, sandbox, sampler.samples(names))
    except ToolError as error:
        return error.problems
    finally:
        sandbox.close()
    return []


def sample_arguments(tool: SqlTool, sandbox: Sandbox) -> list[dict[str, Any]]:
    """Some complete arguments for a valid tool, from the rows of the columns that its parameters are used with; always
    the same ones."""
    sampler = Sampler(_parse(tool.sql), tool.spec, sandbox)
    return list(sampler.samples(tuple(sampler.schemas)))


def compile_tool(tool: SqlTool, sandbox: Sandbox) -> Statement:
    """The statement to run for this tool.

    Raises ToolError unless it is one harmless SELECT, INSERT, UPDATE or DELETE on existing tables and columns, whose
    placeholders are the declared parameters and whose columns are those of `returns`. An INSERT is extended to return
    the new row's primary key, under the name that `returns` gives it.
    """
    parsed = _parse(tool.sql)
    placeholders = {str(node.this) for node in parsed.find_all(exp.Placeholder)}
    problems = [*_parameter_problems(tool.spec, placeholders), *_write_problems(parsed)]
    try:
        statement = sandbox.prepare(tool.sql)
        if statement.parameters != placeholders:
            problems.append("only named placeholders like :customer_id can be used")
        if isinstance(parsed, exp.Insert) and (key := target_table(parsed, sandbox.image).key):
            statement = sandbox.prepare(
                f"{tool.sql.strip().rstrip(';')} RETURNING {_key_names(key, tool.spec.returns)}"
            )
    except SqlError as error:
        raise ToolError([*problems, str(error)]) from None
    if problems := [*problems, *_result_problems(tool.spec.returns, statement)]:
        raise ToolError(problems)
    return statement


def _key_names(key: tuple[str, ...], returns: dict[str, Any] | None) -> str:
    declared = [name for name in (returns or {}).get("properties", {}) if name != "rows_affected"]
    names = declared if len(declared) == len(key) == 1 else key
    return ", ".join(f"{quoted(column)} AS {quoted(name)}" for column, name in zip(key, names, strict=True))


def _parse(sql: str) -> exp.Expression:
    try:
        parsed = [statement for statement in sqlglot.parse(sql, dialect="sqlite") if statement is not None]
    except SqlglotError as error:
        raise ToolError([f"the SQL cannot be parsed: {error}"]) from None
    except RecursionError:
        raise ToolError(["the SQL is too deeply nested"]) from None
    if len(parsed) != 1:
        raise ToolError([f"one statement is expected, but {len(parsed)} are given"])
    if not isinstance(parsed[0], _KINDS):
        raise ToolError([f"SELECT, INSERT, UPDATE or DELETE is expected, but {parsed[0].key.upper()} is given"])
    return parsed[0]


def _parameter_problems(spec: ToolSpec, used: set[str]) -> Iterator[str]:
    if spec.parameters.get("type") != "object":
        yield "the schema of the parameters must have type object"
    declared = spec.parameters.get("properties", {})
    for name, schema in declared.items():
        kinds = schema.get("type", []) if isinstance(schema, dict) else []
        if unsupported := sorted({kinds} - _SCALARS if isinstance(kinds, str) else set(kinds) - _SCALARS):
            yield f"parameter {name} has type {unsupported[0]}, but only single values can be bound"
    for name in sorted(used - set(declared)):
        yield f"the placeholder :{name} is not declared as a parameter"
    for name in sorted(set(declared) - used):
        yield f"the parameter {name} is declared but not used in the SQL"
    for name in sorted(set(spec.parameters.get("required", [])) - set(declared)):
        yield f"the parameter {name} is required but not declared"


def _write_problems(parsed: exp.Expression) -> Iterator[str]:
    if parsed.args.get("returning"):
        yield "RETURNING is not needed: an INSERT returns the new key automatically"
    if isinstance(parsed, exp.Update | exp.Delete):
        where = parsed.args.get("where")
        if where is None or not _parameters_choose_rows(where.this):
            yield f"{parsed.key.upper()} needs a WHERE in which parameters choose the rows, on both sides of an OR"


def _parameters_choose_rows(condition: exp.Expr) -> bool:
    """Whether the parameters decide which rows a condition matches: `:id = :id OR 1 = 1` always matches all."""
    match condition:
        case exp.Paren():
            return _parameters_choose_rows(condition.this)
        case exp.Or():
            return _parameters_choose_rows(condition.left) and _parameters_choose_rows(condition.right)
        case exp.And():
            return _parameters_choose_rows(condition.left) or _parameters_choose_rows(condition.right)
    return bool(condition.find(exp.Placeholder) and condition.find(exp.Column))


def _result_problems(returns: dict[str, Any] | None, statement: Statement) -> Iterator[str]:
    columns = statement.columns if statement.reads else ("rows_affected", *statement.columns)
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        yield f"two columns of the result are both named {name}: give one another name with AS"
    if returns is None:
        return
    expected = "array" if statement.reads else "object"
    if returns.get("type") != expected:
        yield f"the result is an {expected}, but `returns` has type {returns.get('type')}"
        return
    row = returns.get("items", {}) if statement.reads else returns
    declared = set(row.get("properties", {}))
    if missing := sorted(declared - set(columns)):
        yield f"`returns` declares {', '.join(missing)}, but the result has only {', '.join(columns)}"
    if statement.reads and declared and (undeclared := sorted(set(columns) - declared)):
        yield f"`returns` does not declare {', '.join(undeclared)}, which the result has"


def _try_samples(tool: SqlTool, statement: Statement, sandbox: Sandbox, samples: Iterator[dict[str, Any]]) -> None:
    """Raises ToolError if a result does not fit, a state cannot be forked, a limit is exceeded, or every run fails."""
    successes, failure = 0, ""
    for arguments in samples:
        try:
            result = sandbox.run(statement, arguments)
            sandbox.refork()
        except ValueError as error:
            raise ToolError([f"the state that it leaves cannot be forked: {error}"]) from None
        except OutOfBoundsError as error:
            raise ToolError([str(error)]) from None
        except SqlError as error:
            failure = f"with {json.dumps(arguments, ensure_ascii=False)} it fails: {error}"
            continue
        finally:
            sandbox.reset()
        if tool.spec.returns is not None and (misfit := schema_error(result, tool.spec.returns)):
            raise ToolError([f"a result does not fit `returns`: {misfit[:300]}"])
        successes += 1
        if successes == _ENOUGH_RUNS:
            return
    if not successes:
        raise ToolError([failure])
