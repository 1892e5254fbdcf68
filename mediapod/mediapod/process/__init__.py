"""POST /process: single pictures through the effects, in the time that live frames leave."""
