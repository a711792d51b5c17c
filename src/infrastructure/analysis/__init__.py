"""What analysts get: Athena tables of every route and kind, views, saved queries and a workgroup a route."""
