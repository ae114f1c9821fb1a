"""The inventory as files: CSV that can be taken in again, GeoJSON, and FIWARE Smart Data Models. Writing only."""
