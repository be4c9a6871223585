"""NumPy and SciPy code, unchanged, on AWS Trainium."""
