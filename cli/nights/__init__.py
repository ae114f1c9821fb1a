"""What a planner writes down: profiles, calendars and school holidays as files. Reading only; commands are beside."""
