"""What every service needs and none owns. Imports no service and not `contracts`."""
