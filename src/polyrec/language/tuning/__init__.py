"""Language models that are trained with the tasks."""
