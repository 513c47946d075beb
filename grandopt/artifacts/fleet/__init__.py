"""Builds that many machines share: in a folder, or in a bucket."""
