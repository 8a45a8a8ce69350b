"""HTTP: parse, call a service, render. One blueprint per resource."""
