"""The pages for finance: server-rendered, each in a module of its own, over the services that the API calls."""
