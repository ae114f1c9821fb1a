"""Field devices: points, device profiles as data, Modbus and OPC UA drivers. Knows no service.

Import from the modules: `fieldbus.client` opens devices, `fieldbus.values` holds what they give and take,
`fieldbus.vocabulary` names the points.
"""
