"""Losses that published methods add to supervised and preference training: pure functions of tensors."""
