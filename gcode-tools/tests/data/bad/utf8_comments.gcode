; Größe 20 mm – 模型
G21
G90
M82
G28
M104 S200
M109 S200
G92 E0
M117 Drücken ✓
G1 X10 F600 ; übergang
