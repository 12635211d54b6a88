G21
G90 F100
(outer (inner) tail) G1 X10
G1 (a) X20 (b) Y5
G1 X30 (never closed
G1 X40
G1 X50 ) Y6
; (semicolon first) G1 X999
G1 X60 ;(x) ; y
(MSG,hello) (DEBUG, #1) (PRINT, G1 X999)
M2
