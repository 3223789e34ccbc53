"""How servers refuse a request that exceeds the model's context, and refusals that only resemble one."""

from __future__ import annotations

import json

OF_CONTEXT = {
    "vLLM": (
        400,
        "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens",
    ),
    "vLLM, long prompt": (400, "The decoder prompt (length 3000) is longer than the maximum model length of 2048."),
    "vLLM, long answer": (400, "max_tokens=3000 is greater than max_model_len=2048"),
    "SGLang": (
        400,
        "Input length (3000 tokens) exceeds the maximum allowed length (2042 tokens). Use a shorter input or enable "
        "--allow-auto-truncate.",
    ),
    "SGLang, older": (400, "The input (3000 tokens) is longer than the model's context length (2048 tokens)."),
    "llama.cpp": (
        400,
        {
            "code": 400,
            "message": "request (3000 tokens) exceeds the available context size (2048 tokens), try increasing it",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 3000,
            "n_ctx": 2048,
        },
    ),
    "llama.cpp, older": (500, "the request exceeds the available context size. try increasing the context size"),
    "TGI": (
        422,
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000 `inputs` tokens and 20 "
        "`max_new_tokens`",
    ),
    "TGI, long prompt": (422, "Input validation error: `inputs` must have less than 2048 tokens. Given: 3000"),
    "Ollama": (400, "the input length exceeds the context length"),
    "Ollama, chat": (400, "prompt too long; exceeded max context length by 952 tokens"),
    "OpenAI, code": (400, {"message": "Please shorten it.", "type": "invalid", "code": "context_length_exceeded"}),
    "OpenAI, phrase": (400, "Your input exceeds the context window of this model. Please adjust your input."),
    "OpenAI, limit": (400, "Input tokens exceed the configured limit of 272000 tokens."),
    "Anthropic": (
        400,
        {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"},
    ),
    "Anthropic, long answer": (
        400,
        "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000, decrease input length",
    ),
    "Gemini": (
        400,
        {
            "code": 400,
            "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "status": "INVALID_ARGUMENT",
        },
    ),
    "Vertex": (400, "the input token count is 40000 but model only supports up to 32768. Reduce the input token count"),
    "Bedrock": (400, "Input is too long for requested model."),
    "Mistral": (400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    "xAI": (400, "This model's maximum prompt length is 131072 but the request contains 200000 tokens."),
    "Groq": (400, "Please reduce the length of the messages or completion."),
    "LiteLLM": (400, "litellm.BadRequestError: ContextWindowExceededError: too much"),
}
"""Server -> (HTTP status, message or error object)."""
OTHERS = {
    "tokens per minute": (
        429,
        "Rate limit reached: maximum context length 8192, tokens per minute 10000, requested 9000",
    ),
    "tokens per minute, too large": (413, "Request too large for model on tokens per minute (TPM): Limit 6000"),
    "schema": (400, "invalid tool schema: length must be positive"),
    "unknown parameter": (400, "Unrecognized request argument supplied: context_length"),
    "repeated request": (
        400,
        "tools.0.function.parameters: not an object; input was " + "x" * 2000 + " prompt is too long",
    ),
    "overloaded": (503, "the model is overloaded"),
}


def body(refusal: str | dict[str, object]) -> str:
    """The refusal as an HTTP response's body."""
    return json.dumps({"error": {"message": refusal} if isinstance(refusal, str) else refusal})
