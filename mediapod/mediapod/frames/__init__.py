"""Pictures and what happens to them: planes, mailboxes, the accounting of every received frame."""
