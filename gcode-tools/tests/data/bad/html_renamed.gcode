<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>G1 X999</body></html>
