"""The field layer side by side with others on the same work: who reads how many points, at which cost."""
