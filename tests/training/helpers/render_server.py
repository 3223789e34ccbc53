"""vLLM's request rendering over HTTP, without an engine: python render_server.py --model DIRECTORY --port N …

`vllm launch render` does the same, but needs the package's metadata, which the CPU build has under another name.
"""

from __future__ import annotations

import sys

import uvloop
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.launchers.render.entry import run_launch_fastapi
from vllm.utils.argparse_utils import FlexibleArgumentParser

if __name__ == "__main__":
    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:])
    validate_parsed_serve_args(arguments)
    uvloop.run(run_launch_fastapi(arguments))
