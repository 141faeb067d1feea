"""Training of the registration network; only the commands train and finetune import this package."""
