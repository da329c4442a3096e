"""What do event files of other programs hold? One module a family of formats.

    arrays                    .npz and .npy
    hdf5, hdf5_layouts        .h5 and .hdf5: read in a process of its own; what is where
    aedat4, addresses         iniVation and jAER: .aedat4; .aedat and N-MNIST's .bin, .bs2
    prophesee                 .raw (EVT 2, EVT 3) and .dat
    text                      .csv and .txt
    pack, shards              .pack, which this project writes; many of them in a few tar files
    bits                      32-bit addresses -> events
    content                   what every reader says, and the errors, names and bounds they share

A reader takes a path and says what is in the file, unchecked; it raises RecordingError.
"""
