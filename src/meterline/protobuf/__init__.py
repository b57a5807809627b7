"""
The protobuf wire format by hand, one reader and one writer (protobuf.dev, Encoding).
"""
