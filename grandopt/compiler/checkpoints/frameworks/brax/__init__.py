"""Agents of Brax and MuJoCo Playground: folders that Orbax wrote."""
