"""What users see and depend on: the resource, its status, conditions, reasons, labels. No behaviour."""
