"""What runs the system around the services: private nodes, processes, migrations, samples. No service imports it."""
