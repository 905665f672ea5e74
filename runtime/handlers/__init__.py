"""One thin module a function: parse the event, call the domain, answer."""
