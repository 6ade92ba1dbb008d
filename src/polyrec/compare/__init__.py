"""Floor 6: architectures and balancing against each other and against one model a task, at equal budgets."""
