"""Training of late-interaction encoders: distillation, mining, teachers and adaptation.

Importing this package reads neither PyTorch nor `transformers`; its modules do when they are
imported. Everything that runs for long takes a `progress` function instead of drawing a bar.
"""
