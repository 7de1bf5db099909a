"""The hybrid, its twins and their rivals under more and more users: stages on one server, figures, limits."""
