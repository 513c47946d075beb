"""Building and verifying candidates, in processes of their own."""
