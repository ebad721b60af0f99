"""Parts of the training loop in scripts/train.py. Everything here may import torch and Pillow."""
