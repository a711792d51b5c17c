"""The fields of Amazon Connect's records, as documented: columns for analysts, names for `routes check`."""
