"""What watches a stack: metrics, alarms, the dashboard and the saved queries of its logs."""
