"""The parts of book/figures.py: letters and shapes, diagrams, teaching pictures, animations."""
