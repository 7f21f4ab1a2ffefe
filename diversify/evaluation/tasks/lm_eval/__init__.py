"""An lm-eval task folder: `lm_eval run --include_path` takes it (`lm_eval_tasks()` says where it is)."""
