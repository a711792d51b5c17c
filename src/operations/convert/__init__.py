"""Convert: delivered lines -> columns, as Parquet, below the same prefix and under the same key."""
