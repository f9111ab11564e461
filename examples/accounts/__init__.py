"""A small web application with users, teams, roles, sign-in and exports, each action of which is an audit event."""
