# The service `web` of compose.yaml.
FROM busybox
CMD ["httpd", "-f", "-p", "80", "-h", "/etc"]
