"""AWS on one machine: the emulator, the deployed template, a Connect stand-in and the demo."""
