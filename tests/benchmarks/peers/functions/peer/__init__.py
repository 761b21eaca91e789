"""The functions of the peers: the same domain in boto3 without frameworks."""
