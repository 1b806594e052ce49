"""Many clips from one list of jobs: on a Ray cluster, or in processes of this machine."""
