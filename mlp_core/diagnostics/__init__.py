"""What a careful engineer looks at beside the training itself: data, configs, models, machines."""
