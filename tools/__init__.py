"""Programs for people outside of Holdfast; nothing here imports the application."""
