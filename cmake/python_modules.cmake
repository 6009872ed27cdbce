# Installs the Python packages below PYTHON_INSTALL_DIR. The folder training/ becomes the package
# streamingvlm_training, as with pip: docs/decisions/0010.
set(root ${CMAKE_CURRENT_LIST_DIR}/..)
install(DIRECTORY ${root}/streamingvlm_ros DESTINATION ${PYTHON_INSTALL_DIR}
  PATTERN "__pycache__" EXCLUDE PATTERN "*.pyc" EXCLUDE)
install(DIRECTORY ${root}/training/ DESTINATION ${PYTHON_INSTALL_DIR}/streamingvlm_training
  PATTERN "__pycache__" EXCLUDE PATTERN "*.pyc" EXCLUDE)
