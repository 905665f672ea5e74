"""What watches, bounds, reviews and prices a stage."""
