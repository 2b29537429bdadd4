"""Reports: tables and pictures, from stored runs only."""
