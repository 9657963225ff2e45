"""The settings that inference servers add to the OpenAI APIs, and llama.cpp to its own.

What lives here: tables of names, for the dialects to build theirs from. What must not: which of them may pass.
"""

from __future__ import annotations

from typing import Final

from extproc.dialects.settings import Names, named

SAMPLING: Final[Names] = named(
    *("temperature", "top_p", "top_k", "min_p", "seed", "stop", "frequency_penalty", "presence_penalty", "logit_bias"),
    *("stream", "stream_options", "ignore_eos", "response_format", "json_schema", "priority", "user"),
)
"""What all of them have."""

LLAMACPP: Final[Names] = named(
    *("grammar", "grammar_lazy", "grammar_triggers", "preserved_tokens", "lora", "id_slot", "cache_prompt"),
    *("samplers", "dynatemp_range", "dynatemp_exponent", "top_n_sigma", "xtc_probability", "xtc_threshold"),
    *("typical_p", "repeat_last_n", "repeat_penalty", "dry_multiplier", "dry_base", "dry_allowed_length"),
    *("dry_penalty_last_n", "dry_sequence_breakers", "mirostat", "mirostat_tau", "mirostat_eta", "adaptive_target"),
    *("adaptive_decay", "min_keep", "n_keep", "n_discard", "n_indent", "n_cache_reuse", "t_max_prompt_ms"),
    *("t_max_predict_ms", "post_sampling_probs", "backend_sampling", "timings_per_token", "return_tokens"),
    *("return_progress", "response_fields", "verbose", "chat_format", "chat_parser", "reasoning_format"),
    *("reasoning_in_content", "parse_tool_calls", "thinking_forced_open", "generation_prompt"),
    *("reasoning_budget_tokens", "reasoning_budget_start_tag", "reasoning_budget_end_tag"),
    *("reasoning_budget_message", "reasoning_budget_arm_immediately"),
    *("speculative.n_min", "speculative.n_max", "speculative.p_min", "speculative.type", "speculative.types"),
    *("speculative.ngram_size_n", "speculative.ngram_size_m", "speculative.ngram_m_hits"),
    n_predict="max_tokens",
    max_tokens="max_tokens",
    max_completion_tokens="max_tokens",
    n="choices",
    n_cmpl="choices",
    n_probs="logprobs",
    logprobs="logprobs",
)
"""llama.cpp's. Its members with a dot are members of that name, not of an object."""

VLLM: Final[Names] = named(
    *("repetition_penalty", "length_penalty", "use_beam_search", "watermarking", "stop_token_ids", "min_tokens"),
    *("include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens", "allowed_token_ids"),
    *("truncate_prompt_tokens", "truncation_side", "prompt_logprobs", "logprob_token_ids", "bad_words"),
    *("prompt_embeds", "add_special_tokens", "structured_outputs", "structural_tag", "guided_json", "guided_regex"),
    *("guided_choice", "guided_grammar", "guided_decoding_backend", "guided_whitespace_pattern"),
    *(f"structured_outputs.{name}" for name in ("json", "regex", "choice", "grammar", "json_object", "structural_tag")),
    *(f"structured_outputs.{name}" for name in ("whitespace_pattern", "disable_fallback")),
    *(f"structured_outputs.{name}" for name in ("disable_any_whitespace", "disable_additional_properties")),
    *("request_id", "session_id", "logits_processors", "return_tokens_as_token_ids", "return_token_ids"),
    *("return_token_offsets", "return_mm_kwargs", "routed_experts_prompt_start", "cache_salt", "kv_transfer_params"),
    *("ec_transfer_params", "vllm_xargs", "repetition_detection", "thinking_token_budget", "stream_interval"),
)
"""vLLM's."""

SGLANG: Final[Names] = named(
    *("stop_regex", "no_stop_trim", "session_params", "return_hidden_states", "return_routed_experts"),
    *("routed_experts_start_len", "return_cached_tokens_details", "custom_params", "custom_logit_processor"),
    *("images_config", "bootstrap_host", "bootstrap_port", "bootstrap_room", "routed_dp_rank"),
    *("disagg_prefill_dp_rank", "data_parallel_rank", "rid", "extra_key", "ngram_corpus_id", "custom_labels"),
    *("stream_reasoning", "log_metrics"),
    ebnf="grammar",
    regex="guided_regex",
    lora_path="lora",
)
"""SGLang's, save those that vLLM has, too."""
