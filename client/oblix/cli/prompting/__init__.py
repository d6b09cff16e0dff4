"""What a prompt is made of: templates, files, schemas, tools; and the consent to send it to a cloud."""
