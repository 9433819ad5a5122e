"""What is minimised, each loss vectorised over images, classes and prototype pairs."""
